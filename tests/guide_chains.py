"""How the refusals of token chains are brought about."""

from typing import Any, Final

from tests.guides import Provocation, Walk, token, told

ORDERS: Final = "https://orders.example.com"


def longest_chain(walk: Walk) -> str:
    """Let tokens for the ledger be exchanged for one another until no more is allowed."""
    text = walk.configuration().replace('clients = ["stock"]\nreexchange_from = ["https://stock.example.com"]',
                                        'clients = ["web"]\non_missing_profile = "create"\nproviders = ["partner"]\n'
                                        'reexchange_from = ["https://ledger.example.com"]')  # fmt: skip
    walk.serve(text=text)
    again = "tokenmint token exchange --audience https://ledger.example.com --raw --token-file"
    lines = [f"{again} id-token.txt > chain.txt"]
    lines += [f"{again} chain.txt --kind access_token > next.txt; mv next.txt chain.txt" for _ in range(4)]
    done = walk.run("\n".join(lines))
    assert done.returncode == 0, done.stderr
    return told(walk, f"{again} chain.txt --kind access_token")


def chained(audience: str, file: str, options: str = "", **claims: Any) -> Provocation:
    """Return what exchanges a token of ours again."""
    return token(audience=audience, file=file, options=f"--kind access_token {options}", **claims)


AS_ORDERS: Final = "--client-id orders --secret-file orders.secret"


def fresh_chain(walk: Walk) -> None:
    """Make the first token of a chain anew, with one scope."""
    first = (
        f"tokenmint token exchange --audience {ORDERS} --scope stock.read --token-file id-token.txt --raw > first.txt"
    )
    done = walk.run(first)
    assert done.returncode == 0, done.stderr


def scope_is_missing(walk: Walk) -> str:
    """Ask for a scope that the parent has not."""
    fresh_chain(walk)
    return chained("https://stock.example.com", "first.txt", f"{AS_ORDERS} --scope stock.count")(walk)


def longer_than_its_parent(walk: Walk) -> str:
    """Ask for a life that the parent has not."""
    fresh_chain(walk)
    return chained("https://stock.example.com", "first.txt", f"{AS_ORDERS} --lifetime 3600")(walk)


def not_reexchanged(walk: Walk) -> str:
    """Ask for an audience that does not take tokens for this one."""
    fresh_chain(walk)
    return chained(ORDERS, "first.txt")(walk)
