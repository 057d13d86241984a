"""The report's colours, for pictures in light and in dark."""

import re
from importlib.resources import files


def themes() -> dict[str, dict[str, str]]:
    """Light and dark: name of a colour -> its hexadecimal value, as report.css has them."""
    css = (files("pushcut.reporting") / "templates" / "report.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[:2]
    return {
        "light": dict(re.findall(r"--(\w+): (#\w+)", light)),
        "dark": dict(re.findall(r"--(\w+): (#\w+)", dark)),
    }
