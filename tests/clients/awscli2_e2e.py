"""The AWS command line of the second line, Debian's: the steps of `awscli_e2e.py`."""
import os

import nilas
from programs import need

# Its older versions know no AWS_ENDPOINT_URL.
os.environ["AWS_PROGRAM"] = f"{need('aws', 'awscli')} --endpoint-url {nilas.ENDPOINT}"
import awscli_e2e  # noqa: E402,F401  its steps run as it is imported
