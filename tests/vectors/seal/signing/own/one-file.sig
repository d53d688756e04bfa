{
 "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
 "verificationMaterial": {
  "publicKey": {
   "hint": "f0ff50dacf109dea7f716d7c03eb7a821aa3a283fd3fa02f4c14dbba7d3c3322"
  },
  "tlogEntries": []
 },
 "dsseEnvelope": {
  "payload": "eyJfdHlwZSI6Imh0dHBzOi8vaW4tdG90by5pby9TdGF0ZW1lbnQvdjEiLCJwcmVkaWNhdGUiOnsicmVzb3VyY2VzIjpbeyJhbGdvcml0aG0iOiJzaGEyNTYiLCJkaWdlc3QiOiJjNjdjMTk5NTk1NjIyZGZiZGM5ZTQxNWM0YTBhZDYxNjZlYjQ5Y2JmNzRjNmFhYzdiYjNlOTU4NjA0ZDVlY2I4IiwibmFtZSI6Ii4ifV0sInNlcmlhbGl6YXRpb24iOnsiYWxsb3dfc3ltbGlua3MiOmZhbHNlLCJoYXNoX3R5cGUiOiJzaGEyNTYiLCJpZ25vcmVfcGF0aHMiOlsiLmdpdCIsIi5naXRhdHRyaWJ1dGVzIiwiLmdpdGh1YiIsIi5naXRpZ25vcmUiXSwibWV0aG9kIjoiZmlsZXMifX0sInByZWRpY2F0ZVR5cGUiOiJodHRwczovL21vZGVsX3NpZ25pbmcvc2lnbmF0dXJlL3YxLjAiLCJzdWJqZWN0IjpbeyJkaWdlc3QiOnsic2hhMjU2IjoiMGM0ZmFlZjI1Nzc2N2EzNTFkMTY4MTA2Y2MxNGRlNzIyYTkyOWY4ODA4NjM3ZjYzNWU2MDgyOGI4MzYxMDk3MyJ9LCJuYW1lIjoiYS50eHQifV19",
  "payloadType": "application/vnd.in-toto+json",
  "signatures": [
   {
    "sig": "WHmqnmJ4XrAt72UEHx9KR2wsVcUkWmweqJLDJwvvmX7uGJjc0ZBFR/rpMNj7+CohLzmZj1p1xtAroySgrS4GAg==",
    "keyid": "f0ff50dacf109dea7f716d7c03eb7a821aa3a283fd3fa02f4c14dbba7d3c3322"
   }
  ]
 }
}
