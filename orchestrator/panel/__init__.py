"""The panel: constance's pages and commands, wrapped so that one save is one policy revision."""
