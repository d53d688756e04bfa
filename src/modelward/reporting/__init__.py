"""Reports: pure functions from an audit's result to terminal text, JSON, SARIF and HTML."""
