"""The way out to browsers: one message a fact, rendered once, however many sockets there are.

The stream process hands messages to ``Sender``, which numbers them in a Redis stream a channel (the last 500) and
tells the other processes through the channel layer. In each web process one ``Hub`` follows the channels that its
sockets want; what the layer loses, it reads from the Redis stream.
"""
