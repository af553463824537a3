"""The pages say what the code does: every setting and every command is in the README, and no link leads nowhere."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(
    [*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"), PROJECT / "orchestrator" / "samples" / "README.md"]
)

# How the environment is read: env.str("NAME", …), read_int(env, "NAME", …), and per engine f"{prefix}NAME".
READ_BY_NAME = re.compile(
    r"""(?:\benv|Env\(\))\.\w+\(\s*"([A-Z][A-Z0-9_]+)"|\bread_\w+\(\s*env,\s*"([A-Z][A-Z0-9_]+)\""""
)
READ_PER_ENGINE = re.compile(r'f"\{prefix\}([A-Z][A-Z0-9_]+)"')
PANEL_KEY = re.compile(r"^    ([A-Z][A-Z_]+)=\($", re.MULTILINE)
FENCED = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def settings_of_the_code() -> set[str]:
    """Return the name of every environment setting that the code reads."""
    found = set()
    for path in [
        *PROJECT.glob("config/*.py"),
        PROJECT / "orchestrator" / "management" / "commands" / "run_reference_engine.py",
    ]:
        source = path.read_text(encoding="utf-8")
        found |= {first or second for first, second in READ_BY_NAME.findall(source)}
        found |= {f"ENGINE_{name}_{key}" for key in READ_PER_ENGINE.findall(source) for name in "AB"}
    return found


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(text)}


def test_the_settings_are_found_in_the_code() -> None:
    known = {"DATABASE_URL", "EMBEDDED_POSTGRES_DIR", "SECRET_KEY", "APP_MODE", "LEASE_SECONDS", "ORCHESTRATOR_URL"}
    assert known | {"ENGINE_A_URL", "ENGINE_B_SECRET", "ENGINE_B_QUERYABLE"} <= settings_of_the_code()


@pytest.mark.parametrize("name", sorted(settings_of_the_code()))
def test_every_environment_setting_is_in_a_table_of_the_readme(name: str) -> None:
    assert re.search(rf"^\|[^|]*`{name}`", README, re.MULTILINE), f"{name} is read by the code"


def test_every_panel_key_is_in_a_table_of_the_readme() -> None:
    keys = PANEL_KEY.findall((PROJECT / "config" / "panel.py").read_text(encoding="utf-8"))
    assert "EXECUTION_MODE" in keys
    assert [key for key in keys if not re.search(rf"^\| `{key}` \|", README, re.MULTILINE)] == []


def test_every_command_is_in_the_table_of_the_readme_and_no_other() -> None:
    commands = {path.stem for path in PROJECT.glob("*/management/commands/*.py")} - {"__init__"}
    table = README.split("\n## Commands\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)", table, re.MULTILINE)) == commands


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_relative_link_and_picture_leads_somewhere(page: Path) -> None:
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    broken = []
    for link in LINK.findall(text):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not (target.is_file() and target.is_relative_to(PROJECT)) or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_the_messages_to_paste_are_the_ones_of_the_admin() -> None:
    source = (PROJECT / "webhooks" / "message_templates.py").read_text(encoding="utf-8")
    messages = re.findall(r'= """(.+?)"""', source, re.DOTALL)
    plain = re.sub(r"^ +", "", README, flags=re.MULTILINE)
    assert len(messages) == 2
    assert [message for message in messages if re.sub(r"^ +", "", message, flags=re.MULTILINE) not in plain] == []
