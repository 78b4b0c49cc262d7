"""What CDeep3M2 was asked to do to training images: nine strengths, their .ini file, and the record of it."""

from __future__ import annotations

from dataclasses import dataclass, fields

SETTINGS_FILE = "ConfigSettings_v{}.txt"
"""Beside the training files of a volume, by its number: what was asked for."""
SECTION = "Additional Augmentations"
ENHANCED, NONE = -1, 0
"""Values of SEC that stand for the enhancement, and for no secondary augmentation."""

ENHANCED_TEXT = (
    "Secondary augmentation strength:-1 \nTertiary augmentation strength:{tertiary}\n1-16: denoised and enhanced \n"
)
OPERATIONS_TEXT = (
    "Secondary augmentation strength:{secondary}\n"
    "Tertiary augmentation strength:{tertiary}\n"
    "0: Original Image \n"
    "1: HighContrast\n"
    "2: LowContrast\n"
    "3: Sharpen\n"
    "4: Blur\n"
    "5: UniformNoise\n"
    "6: TV_Chambolle\n"
    "7: HistogramEqualization\n"
    "9: HighContrast, Skew\n"
    "10: LowContrast, Skew\n"
    "11: Sharpen, Skew\n"
    "12: Blur, ElasticDistortion\n"
    "13: UniformNoise, ElasticDistortion\n"
    "14: TV_Chambolle, ElasticDistortion\n"
    "15: HistogramEqualization, ElasticDistortion\n"
)


@dataclass(frozen=True, kw_only=True)
class Strengths:
    """How strong each operation of the secondary augmentation is, 0 to 10; the defaults are those of augcfg.ini."""

    highcontrast: int = 3
    lowcontrast: int = 3
    blur: int = 3
    sharpen: int = 4
    uniformnoise: int = 5
    tv_chambolle: int = 3
    histogramequalization: int = 2
    skew: int = 5
    elasticdistortion: int = 5

    @classmethod
    def all_of(cls, strength: int) -> Strengths:
        """Return one strength for everything, as the argument SEC asks for."""
        return cls(**{field.name: strength for field in fields(cls)})

    @classmethod
    def from_text(cls, text: str) -> Strengths:
        """Return what an .ini file says.

        Raises
        ------
        ValueError
            Its section or one of its nine keys is missing, or a value is no whole number.
        """
        import configparser

        parser = configparser.ConfigParser()
        try:
            parser.read_string(text)
        except configparser.Error as error:
            raise ValueError(f"no .ini file ({str(error).splitlines()[0]})") from None
        if not parser.has_section(SECTION):
            raise ValueError(f"expected a section [{SECTION}]; found {', '.join(parser.sections()) or 'none'}")
        names = [field.name for field in fields(cls)]
        missing = [name for name in names if not parser.has_option(SECTION, name)]
        if missing:
            raise ValueError(f"expected the keys {', '.join(names)}; missing: {', '.join(missing)}")
        return cls(**{name: _whole_number(name, parser.get(SECTION, name)) for name in names})

    def text(self) -> str:
        """Return the .ini file, as augconfig.py writes it."""
        lines = [f"{field.name} = {getattr(self, field.name)}\n" for field in fields(self)]
        return "".join([f"[{SECTION}]\n", *lines, "\n"])


def settings_text(secondary: str, tertiary: str) -> str:
    """Return the text of a `SETTINGS_FILE`.

    Parameters
    ----------
    secondary, tertiary : str
        SEC and TER as they were typed; it records no draws (defect 16).
    """
    if secondary == str(ENHANCED):
        return ENHANCED_TEXT.format(tertiary=tertiary)
    return OPERATIONS_TEXT.format(secondary=secondary, tertiary=tertiary)


def _whole_number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name} = {text}: expected a whole number from 0 to 10") from None
