"""Networks, data, training and timing, on torch alone: nothing here knows Ray, W&B or a command line."""
