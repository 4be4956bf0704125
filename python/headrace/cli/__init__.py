"""The command line: nouns, then verbs. One file a group; parsing and printing only."""
