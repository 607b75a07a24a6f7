"""What the contract suite drives the server with: real processes, real sockets, nothing of ``app`` imported."""
