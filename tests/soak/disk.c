/* A disk that stops a process, fails or is full at one of its operations: preloaded before the C library.
 *
 * Only what is below one folder counts, apart from names that begin with ".said-", which the trials write themselves.
 * Built and used by disk.py. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char room[PATH_MAX];
static size_t length;
static long at, seen;
static int deadly, failing, reading;

/* Stop at the n-th operation with a signal, or fail with an error number from it on; 0 and 0 count alone.
 * With `reads`, what fails is reading. */
void soak_arm(const char *folder, long n, int number, int error, int reads) {
    strncpy(room, folder, sizeof room - 1);
    at = n, deadly = number, failing = error, reading = reads, seen = 0;
    length = strlen(room);
}

long soak_seen(void) { return __atomic_load_n(&seen, __ATOMIC_RELAXED); }

static int is_in(const char *path) {
    if (strncmp(path, room, length) || (path[length] != '/' && path[length])) return 0;
    const char *name = strrchr(path, '/');
    return !name || strncmp(name, "/.said-", 7) != 0;
}

static int of_descriptor(int descriptor, char *path) {
    char link[32] = "/proc/self/fd/";
    char digits[12];
    int count = 0, k = 14;
    if (descriptor < 0) return 0;
    do digits[count++] = (char)('0' + descriptor % 10);
    while (descriptor /= 10);
    while (count) link[k++] = digits[--count];
    ssize_t size = readlink(link, path, PATH_MAX - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return 1;
}

static int concerns(int descriptor) {
    char path[PATH_MAX];
    int kept = errno, found = length && of_descriptor(descriptor, path) && is_in(path);
    errno = kept;
    return found;
}

static int is_there(int folder, const char *name) {
    int kept = errno, found = faccessat(folder, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    errno = kept;
    return found;
}

static int concerns_name(int folder, const char *name) {
    if (!length || !name) return 0;
    if (name[0] == '/') return is_in(name);
    const char *last = strrchr(name, '/');
    if (!strncmp(last ? last + 1 : name, ".said-", 6)) return 0;
    if (folder != AT_FDCWD) return concerns(folder);
    char path[PATH_MAX];
    int kept = errno, found = getcwd(path, sizeof path) && is_in(path);
    errno = kept;
    return found;
}

enum kind { CHANGES, GROWS, READS, SYNCS };

/* Return 1 where the operation has to fail, and -1 where it has to be cut short, which comes before that. */
static int strike(enum kind kind) {
    if ((kind == READS) != reading) return 0;
    long now = __atomic_add_fetch(&seen, 1, __ATOMIC_RELAXED);
    if (deadly && now == at) {
        if (kind == GROWS) return -1;
        kill(getpid(), deadly);
    }
    if (!failing || now < at || (kind == CHANGES && failing != EIO)) return 0;
    if (kind == SYNCS && failing == ENOSPC) return 0;
    if (kind == GROWS && now == at && failing != EIO) return -1;
    errno = failing;
    return 1;
}

#define REAL(type, name, ...)                        \
    static type (*real)(__VA_ARGS__);                \
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name)

/* Of a write that is cut short, half is written; then the signal comes, or the caller learns of the half. */
#define WRITES(type, name, where, parameters, arguments, halves, count) \
    type name parameters {                                             \
        REAL(type, name, where);                                       \
        int struck = concerns(descriptor) ? strike(GROWS) : 0;         \
        if (struck > 0) return -1;                                     \
        if (struck < 0) {                                              \
            if (deadly && deadly != SIGKILL) {                         \
                kill(getpid(), deadly);                                \
                return real arguments;                                 \
            }                                                          \
            type done = real halves;                                   \
            if (deadly) kill(getpid(), deadly);                        \
            if (count > 1) return done;                                \
            errno = failing;                                           \
            return -1;                                                 \
        }                                                              \
        return real arguments;                                         \
    }

#define COMMA ,
WRITES(ssize_t, write, int COMMA const void * COMMA size_t, (int descriptor, const void *bytes, size_t count),
       (descriptor, bytes, count), (descriptor, bytes, count / 2), count)
WRITES(ssize_t, pwrite, int COMMA const void * COMMA size_t COMMA off_t,
       (int descriptor, const void *bytes, size_t count, off_t offset), (descriptor, bytes, count, offset),
       (descriptor, bytes, count / 2, offset), count)
WRITES(ssize_t, pwrite64, int COMMA const void * COMMA size_t COMMA off64_t,
       (int descriptor, const void *bytes, size_t count, off64_t offset), (descriptor, bytes, count, offset),
       (descriptor, bytes, count / 2, offset), count)
WRITES(ssize_t, writev, int COMMA const struct iovec * COMMA int,
       (int descriptor, const struct iovec *parts, int count), (descriptor, parts, count),
       (descriptor, parts, count / 2), count)
WRITES(ssize_t, copy_file_range, int COMMA off64_t * COMMA int COMMA off64_t * COMMA size_t COMMA unsigned,
       (int source, off64_t *from, int descriptor, off64_t *to, size_t count, unsigned flags),
       (source, from, descriptor, to, count, flags), (source, from, descriptor, to, count / 2, flags), count)
WRITES(ssize_t, sendfile, int COMMA int COMMA off_t * COMMA size_t,
       (int descriptor, int source, off_t *from, size_t count), (descriptor, source, from, count),
       (descriptor, source, from, count / 2), count)
WRITES(ssize_t, sendfile64, int COMMA int COMMA off64_t * COMMA size_t,
       (int descriptor, int source, off64_t *from, size_t count), (descriptor, source, from, count),
       (descriptor, source, from, count / 2), count)

#define PLAIN(type, name, where, parameters, arguments, concerned, kind) \
    type name parameters {                                              \
        REAL(type, name, where);                                        \
        int struck = (concerned) ? strike(kind) : 0;                    \
        if (struck < 0) {                                               \
            if (deadly) kill(getpid(), deadly);                         \
            errno = failing;                                            \
            if (!deadly) return -1;                                     \
        }                                                               \
        return struck > 0 ? -1 : real arguments;                        \
    }

PLAIN(ssize_t, read, int COMMA void * COMMA size_t, (int descriptor, void *bytes, size_t count),
      (descriptor, bytes, count), concerns(descriptor), READS)
PLAIN(ssize_t, pread, int COMMA void * COMMA size_t COMMA off_t,
      (int descriptor, void *bytes, size_t count, off_t offset), (descriptor, bytes, count, offset),
      concerns(descriptor), READS)
PLAIN(ssize_t, pread64, int COMMA void * COMMA size_t COMMA off64_t,
      (int descriptor, void *bytes, size_t count, off64_t offset), (descriptor, bytes, count, offset),
      concerns(descriptor), READS)
PLAIN(int, fsync, int, (int descriptor), (descriptor), concerns(descriptor), SYNCS)
PLAIN(int, fdatasync, int, (int descriptor), (descriptor), concerns(descriptor), SYNCS)
PLAIN(int, ftruncate, int COMMA off_t, (int descriptor, off_t size), (descriptor, size), concerns(descriptor), GROWS)
PLAIN(int, ftruncate64, int COMMA off64_t, (int descriptor, off64_t size), (descriptor, size), concerns(descriptor),
      GROWS)
PLAIN(int, mkdir, const char * COMMA mode_t, (const char *name, mode_t mode), (name, mode),
      concerns_name(AT_FDCWD, name), GROWS)
PLAIN(int, mkdirat, int COMMA const char * COMMA mode_t, (int folder, const char *name, mode_t mode),
      (folder, name, mode), concerns_name(folder, name), GROWS)
PLAIN(int, symlink, const char * COMMA const char *, (const char *target, const char *name), (target, name),
      concerns_name(AT_FDCWD, name), GROWS)
PLAIN(int, symlinkat, const char * COMMA int COMMA const char *, (const char *target, int folder, const char *name),
      (target, folder, name), concerns_name(folder, name), GROWS)
PLAIN(int, link, const char * COMMA const char *, (const char *target, const char *name), (target, name),
      concerns_name(AT_FDCWD, name), GROWS)
PLAIN(int, rename, const char * COMMA const char *, (const char *old, const char *name), (old, name),
      concerns_name(AT_FDCWD, name), CHANGES)
PLAIN(int, renameat, int COMMA const char * COMMA int COMMA const char *,
      (int from, const char *old, int folder, const char *name), (from, old, folder, name),
      concerns_name(folder, name), CHANGES)
PLAIN(int, unlink, const char *, (const char *name), (name), concerns_name(AT_FDCWD, name), CHANGES)
PLAIN(int, unlinkat, int COMMA const char * COMMA int, (int folder, const char *name, int flags),
      (folder, name, flags), concerns_name(folder, name), CHANGES)
PLAIN(int, rmdir, const char *, (const char *name), (name), concerns_name(AT_FDCWD, name), CHANGES)

#define OPENS(name, where, parameters, before, from)                                               \
    int name parameters {                                                                          \
        REAL(int, name, where COMMA...);                                                           \
        mode_t mode = 0;                                                                           \
        if (flags & (O_CREAT | __O_TMPFILE)) {                                                     \
            va_list more;                                                                          \
            va_start(more, flags);                                                                 \
            mode = va_arg(more, mode_t);                                                           \
            va_end(more);                                                                          \
        }                                                                                          \
        int writes = flags & (O_CREAT | O_TRUNC | O_WRONLY | O_RDWR);                              \
        int struck = 0;                                                                            \
        if (writes && concerns_name(from, path))                                                  \
            struck = strike((flags & O_CREAT) && !is_there(from, path) ? GROWS : CHANGES);        \
        if (struck < 0 && deadly) {                                                                \
            int made = real(before, flags, mode);                                                  \
            kill(getpid(), deadly);                                                                \
            return made;                                                                           \
        }                                                                                          \
        if (struck < 0) errno = failing;                                                           \
        return struck ? -1 : real(before, flags, mode);                                            \
    }

OPENS(open, const char * COMMA int, (const char *path, int flags, ...), path, AT_FDCWD)
OPENS(open64, const char * COMMA int, (const char *path, int flags, ...), path, AT_FDCWD)
OPENS(openat, int COMMA const char * COMMA int, (int folder, const char *path, int flags, ...), folder COMMA path,
      folder)
OPENS(openat64, int COMMA const char * COMMA int, (int folder, const char *path, int flags, ...), folder COMMA path,
      folder)
