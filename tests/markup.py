"""Pages as tests read them: by what they show, however their templates are laid out."""

import re


def squeezed(html: str) -> str:
    """Return markup with one blank for each stretch of white space, and none beside a tag."""
    return re.sub(r" ?(<[^>]*>) ?", r"\1", " ".join(html.split()))
