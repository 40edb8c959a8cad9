"""Those who know disk formats."""
