"""The local run: sandbox platforms and the demo. Nothing here is deployed."""
