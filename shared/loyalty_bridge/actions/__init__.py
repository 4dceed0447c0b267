"""What engagement platforms make us do on loyalty platforms, and the journal of it."""
