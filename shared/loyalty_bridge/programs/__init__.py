"""Programs, their connections and their secrets."""
