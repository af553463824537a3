"""The least that two well-known frameworks need to store an alert: no check, no redaction, no reading of what people write.

They import nothing of the service, and `make bench` is the only one that imports them.
"""
