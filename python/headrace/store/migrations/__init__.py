"""How an older database becomes one of today. Only imported where there is one."""
