"""What a model consists of: files, data, packages, licences, as CycloneDX and SPDX."""
