"""The data model as a page and a picture, made from the models and from nothing else."""
