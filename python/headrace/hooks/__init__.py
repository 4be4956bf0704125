"""How plugins reach headrace: markers, specifications, discovery, the manager."""
