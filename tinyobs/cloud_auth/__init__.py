"""Who TinyObs is to a cloud: credentials and tokens of AWS, Google Cloud and Azure, without their SDKs.

Discovery plugins and remote write ask here.  Nothing here knows what is asked with the credentials.
"""
