"""The documents name only things that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEFINED = re.compile(r"^\s*(?:async )?(?:def|class) (\w+)", re.MULTILINE)


def test_every_attack_names_a_test_and_every_test_that_is_named_exists() -> None:
    defined = {name for file in (ROOT / "tests").rglob("*.py") for name in DEFINED.findall(file.read_text())}
    lines = [line for line in (ROOT / "docs" / "security.md").read_text().splitlines() if line.startswith("- ")]
    assert len(lines) > 60
    for line in lines:
        named = [name for name in re.findall(r"`(\w+)`", line) if name.startswith("test_")]
        assert named, f"no test is named: {line}"
        assert set(named) <= defined, set(named) - defined


ATTACKS = """
`alg` none|HMAC with the public key|does not fit the key|`jwk`|`jku`|`x5u`|`x5c`|path, SQL|control characters
more than 128|r = s = 0
out of range|DER instead of raw|`crit`|`b64`|padding|another alphabet|stray bits|trailing bytes|number of dots
dot floods|16 KiB|JWE (five parts)
JSON serialisation|duplicate names|depth|NaN|Infinity|1e400|negative|lone surrogates|are not text
issuer with a prefix|become a URL|tenant template|audience missing|access, logout|our own token|boundary second
nonce|replay, on another replica
store was killed
unknown kids|same kid at two|`oct`|private members|e = 1|ROCA|Fermat|huge RSA|5xx|empty|HTML|oversize|slow:
redirecting|private addresses|took back
no credentials|wrong secret|expired, for others, replayed|certificate of another
audience, provider, scope, lifetime, format|operators' methods by clients
not in the access table|`:path` without a slash
reserved claims|foreign, corrupt|separators|deleted principal|cancelled command|disabled principals
second of revocation
canaries in logs|exception's text|constant time
64 KiB|8 KiB|streams per connection|rapid reset|slow clients|no deadline|too many calls
refuses|black hole|drips|resets mid-reply|READONLY|LOADING|OOM|NOAUTH|MOVED|CLUSTERDOWN|pool exhausted
limits while the store is away
signing on a ring that may be old|vectors from outside
"""
"""Every attack that was thought of, by words that its line of the document has."""


def test_no_attack_is_missing_from_the_document() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    lines = "\n".join(line.partition(": `test_")[0] + ":" for line in text.splitlines() if line.startswith("- "))
    words = [word for line in ATTACKS.strip().splitlines() for word in line.split("|")]
    assert [word for word in words if word not in lines and word not in text] == []


STATUS = re.compile(
    r"\*\*Status\.\*\* (?:Accepted|Superseded) on (\d{4}-\d\d-\d\d)"
    r"(, amended on \d{4}-\d\d-\d\d)?\.(?: (Out of date .+))?"
)
RECORD = re.compile(r"^\| \[(\d+)\]\((\S+)\) \| (.+) \| (\d{4}-\d\d-\d\d) \| (.+) \|$", re.MULTILINE)


def test_every_decision_record_is_numbered_and_says_what_it_costs() -> None:
    records = sorted((ROOT / "docs" / "adr").glob("0*.md"))
    numbers = [int(record.name[:4]) for record in records]
    assert numbers == sorted(set(numbers))
    for record in records:
        text = record.read_text()
        assert all(part in text for part in ("**Decided.**", "**Why.**", "**Costs.**")), record.name


def test_every_decision_record_has_a_status_and_a_date_and_is_listed_with_them() -> None:
    folder = ROOT / "docs" / "adr"
    expected = []
    for record in sorted(folder.glob("0*.md")):
        title, _, status, *_ = text = record.read_text().splitlines()
        found = STATUS.fullmatch(status)
        assert found is not None, f"{record.name}: {status}"
        date, amended, stale = found.groups()
        assert not stale or any(line.startswith("**Later.**") for line in text), record.name
        state = "out of date in part" if stale else (amended or "accepted").removeprefix(", ")
        number, _, subject = title.removeprefix("# ").partition(". ")
        expected.append((number, record.name, subject, date, state))
    assert RECORD.findall((folder / "README.md").read_text()) == expected


def test_nobody_knows_a_secret_that_a_shown_configuration_accepts() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.toml")]
    shown = {name for page in pages for name in re.findall(r"sha256:([0-9a-f]{64})", page.read_text())}
    assert shown == {"0" * 64}  # what is copied as it stands lets nobody in
