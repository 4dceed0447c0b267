"""Records that lie outside queue and stream: held, rejected or waiting."""
