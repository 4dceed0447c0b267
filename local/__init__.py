"""The local run: simulated platforms and the demo. Nothing here is deployed."""
