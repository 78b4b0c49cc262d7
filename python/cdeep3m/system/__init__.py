"""What the operating system offers: whole files and folders, locks, memory, threads, interrupts."""
