{
 "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
 "verificationMaterial": {
  "publicKey": {
   "hint": "a7564697794da93d967e55962496722a43e47c440f6574a32836dffb2382b7f6"
  },
  "tlogEntries": []
 },
 "dsseEnvelope": {
  "payload": "eyJfdHlwZSI6Imh0dHBzOi8vaW4tdG90by5pby9TdGF0ZW1lbnQvdjEiLCJwcmVkaWNhdGUiOnsicmVzb3VyY2VzIjpbeyJhbGdvcml0aG0iOiJzaGEyNTYiLCJkaWdlc3QiOiJjODY1ZjZjNWFiOGQxYjBiY2QzODNhNWUxZTM4NzlkMjI2ODFjOTZiZjQ2MmMyNjliNzU4MWQ1MjNmYmU3MGFiIiwibmFtZSI6ImEveiJ9LHsiYWxnb3JpdGhtIjoic2hhMjU2IiwiZGlnZXN0IjoiYzY3YzE5OTU5NTYyMmRmYmRjOWU0MTVjNGEwYWQ2MTY2ZWI0OWNiZjc0YzZhYWM3YmIzZTk1ODYwNGQ1ZWNiOCIsIm5hbWUiOiJhLnR4dCJ9LHsiYWxnb3JpdGhtIjoic2hhMjU2IiwiZGlnZXN0IjoiY2EzZDE2M2JhYjA1NTM4MTgyNzIyNjE0MDU2OGYzYmVmN2VhYWMxODdjZWJkNzY4NzhlMGI2M2U5ZTQ0MjM1NiIsIm5hbWUiOiJjb25maWcuanNvbiJ9LHsiYWxnb3JpdGhtIjoic2hhMjU2IiwiZGlnZXN0IjoiZTNiMGM0NDI5OGZjMWMxNDlhZmJmNGM4OTk2ZmI5MjQyN2FlNDFlNDY0OWI5MzRjYTQ5NTk5MWI3ODUyYjg1NSIsIm5hbWUiOiJlbXB0eSJ9XSwic2VyaWFsaXphdGlvbiI6eyJhbGxvd19zeW1saW5rcyI6ZmFsc2UsImhhc2hfdHlwZSI6InNoYTI1NiIsImlnbm9yZV9wYXRocyI6WyIuZ2l0IiwiLmdpdGF0dHJpYnV0ZXMiLCIuZ2l0aHViIiwiLmdpdGlnbm9yZSJdLCJtZXRob2QiOiJmaWxlcyJ9fSwicHJlZGljYXRlVHlwZSI6Imh0dHBzOi8vbW9kZWxfc2lnbmluZy9zaWduYXR1cmUvdjEuMCIsInN1YmplY3QiOlt7ImRpZ2VzdCI6eyJzaGEyNTYiOiIzNTU3NDUwNTU3ZmU1ODIzOTMwMmM4NjljNmMxZjQ3M2NhZTFhMmQ3ZTllYmU5YjhhOWRkZDczODdjOTllNTU4In0sIm5hbWUiOiJtb2RlbCJ9XX0=",
  "payloadType": "application/vnd.in-toto+json",
  "signatures": [
   {
    "sig": "MEUCIHQElSAhdx54ZVEtQyrzhonTfHKaAn30nxc55nP6JnIOAiEAltxf+Kk+qUauHMBElLmLHgRRE4JqcKkZyDd1HLkPM/c=",
    "keyid": "a7564697794da93d967e55962496722a43e47c440f6574a32836dffb2382b7f6"
   },
   {
    "sig": "O0rdWTqx9fKhxMt9cpMN31z+SqMG3VFU15Nv/CFAtApvylQFc+wJDUslR3ur19ju90f+Ue7sxkFhZuem9wSHBQ==",
    "keyid": "f0ff50dacf109dea7f716d7c03eb7a821aa3a283fd3fa02f4c14dbba7d3c3322"
   }
  ]
 }
}
