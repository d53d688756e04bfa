{
 "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
 "verificationMaterial": {
  "publicKey": {
   "hint": "f0ff50dacf109dea7f716d7c03eb7a821aa3a283fd3fa02f4c14dbba7d3c3322"
  },
  "tlogEntries": []
 },
 "dsseEnvelope": {
  "payload": "eyJfdHlwZSI6Imh0dHBzOi8vaW4tdG90by5pby9TdGF0ZW1lbnQvdjEiLCJwcmVkaWNhdGUiOnsiYWxnb3JpdGhtIjoiYmxha2UzIiwiYnl0ZXMiOjE2LCJmaWxlcyI6NCwicm9vdCI6ImJsYWtlMzowNjc5Y2Y1ZjlmNTA2ZmQzYjc1MzRhYmZlMzVmZWFiZWU5M2MzNDYyMzVkNjc4NmE4ZTM0MGZlMWUzMGIzMWQ1In0sInByZWRpY2F0ZVR5cGUiOiJodHRwczovL21vZGVsd2FyZC5kZXYvdHJlZS92MSIsInN1YmplY3QiOlt7ImRpZ2VzdCI6eyJibGFrZTMiOiIwNjc5Y2Y1ZjlmNTA2ZmQzYjc1MzRhYmZlMzVmZWFiZWU5M2MzNDYyMzVkNjc4NmE4ZTM0MGZlMWUzMGIzMWQ1In0sIm5hbWUiOiJtb2RlbCJ9XX0=",
  "payloadType": "application/vnd.in-toto+json",
  "signatures": [
   {
    "sig": "6Q6mA3WT+gLRtlQQCxs9Ehraw2n2+f6cdmmKMz2s2aDSwqPVovqNRSIlc1gd3heM26SreOrZulAx29oEDmSiCg==",
    "keyid": "f0ff50dacf109dea7f716d7c03eb7a821aa3a283fd3fa02f4c14dbba7d3c3322"
   }
  ]
 }
}
