"""moto_server without the check of signatures, for tests that enforce policies.

It takes the query apart and puts it together differently from how it was signed, so that it refuses every S3 listing with a
slash in its prefix (SignatureDoesNotMatch). Whose key it is and what its policies allow is checked as ever."""

import sys

from moto.iam.access_control import IAMRequestBase
from moto.server import main

IAMRequestBase.check_signature = lambda self: None

if __name__ == "__main__":
    main(sys.argv[1:])
