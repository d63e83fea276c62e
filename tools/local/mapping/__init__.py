"""Lambda's event source mappings for the local cloud, by the rules that AWS documents."""
