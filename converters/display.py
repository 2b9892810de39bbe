"""Text from a file made safe to show: no control character reaches a terminal, nothing is endless."""

LONGEST = 200


def printable(text: str, longest: int = LONGEST) -> str:
    """`text` with every control, surrogate, bidi and line-breaking character as an escape, cut at `longest`."""
    if text.isprintable() and len(text) <= longest:
        return text
    cut = text if len(text) <= longest else text[:longest] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in cut)


def quoted(text: str) -> str:
    """`printable` in double quotes."""
    return f'"{printable(text)}"'
