"""Environment `mcp`: tools of MCP servers, with a session for every trajectory."""
