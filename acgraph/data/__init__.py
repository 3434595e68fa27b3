"""Data given by a user: arrays, folders of images, callables."""
