"""How each refusal that the guide to MCP servers names is brought about."""

import http.client
import re
from collections.abc import Sequence
from typing import Final

from tests.guides import Provocation, Walk, command


def mcp_call(options: str, scheme: str = "Bearer") -> Provocation:
    """Return what calls the page's MCP server with a token of these options, and says how the challenge reads."""

    def provoke(walk: Walk) -> str:
        sent = walk.run(f"tokenmint token exchange --token-file id-token.txt --raw {options}").stdout.strip()
        host, _, port = walk.placed("127.0.0.1:8000").partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        connection.request("POST", "/mcp", "{}", {"Authorization": f"{scheme} {sent}"})
        answer = connection.getresponse()
        challenge = dict(re.findall(r'(\w+)="([^"]*)"', answer.getheader("WWW-Authenticate", "")))
        connection.close()
        return f"{answer.status} {challenge['error']}: {challenge['error_description']}"

    return provoke


MCP: Final[Sequence[Provocation]] = (
    mcp_call("--audience https://other.example.com"),
    mcp_call("--audience https://mcp.example.com --scope tools.list"),
    mcp_call(f"--audience https://mcp.example.com --dpop-jkt {'A' * 43}"),
    mcp_call(f"--audience https://mcp.example.com --dpop-jkt {'A' * 43}", scheme="DPoP"),
    command("tokenmint token exchange --resource https://mcp.example.com/other --token-file id-token.txt"),
)
