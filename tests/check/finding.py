"""A finding: where something is wrong, what it is, and what to do about it."""

from dataclasses import dataclass

LONGEST = 600  # characters of a part of a finding; the log has the rest
SHORT = 160  # characters of what is wrong, where it is told again


@dataclass(frozen=True)
class Finding:
    """Something that must be mended."""

    where: str  # file:line, or the name of a step
    what: str  # what must hold, what was expected, and what was observed
    remedy: str

    @property
    def key(self):
        """Return what makes it this finding: two tests may find the same."""
        return self.where, self.what

    @property
    def short(self):
        """Return where it is and how what is wrong begins."""
        return f"{self.where}: {in_a_line(self.what, SHORT)}"

    def __str__(self):
        """Return the finding as one line."""
        return f"{self.where}: {in_a_line(self.what)} To do: {in_a_line(self.remedy)}"


def in_a_line(text, longest=LONGEST):
    """Return a text without its ends of lines, and not too long."""
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[:longest]} …"
