"""Files behind http(s) URLs, read by ranges, and repositories of a Hugging Face hub."""
