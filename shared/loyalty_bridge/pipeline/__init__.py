"""The forwarder's pipeline: read, map, once, newest wins, pack, send, judge, settle."""
