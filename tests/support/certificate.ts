/**
 * A certificate of `localhost` that signs itself, and its key, until 2126. It was made for these tests and guards nothing:
 * `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj /CN=localhost
 * -addext subjectAltName=DNS:localhost`.
 */
export const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBlTCCATugAwIBAgIUQqQkWqaHqy8b61a+jmP4XVnm80MwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNjE2MzczMVoYDzIxMjYxMTAy
MTYzNzMxWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATqy6sMiDOlkIrs0O4QIhR8sgEIANVpJVm9Biz0D7cFZr9mq3nhPCGt
HpLovRr2XKWwE6/bD2B/4wVRxU1Fnphjo2kwZzAdBgNVHQ4EFgQUmUie6i2yLzI4
meCStF0GFAiTRtwwHwYDVR0jBBgwFoAUmUie6i2yLzI4meCStF0GFAiTRtwwDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
SAAwRQIhAKo1IguAa+lT90cVOEOGCcdNBZwG+JNvnvt0xSUopr8gAiBGerxpKmgA
GeNsgU4/QuNtoLl4A/mzkji+WjQzQ74q9A==
-----END CERTIFICATE-----
`

export const KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgzSTAPYr/s5JmPYde
qDlYq7Q7k3vAahHIsXV4BsDKnvOhRANCAATqy6sMiDOlkIrs0O4QIhR8sgEIANVp
JVm9Biz0D7cFZr9mq3nhPCGtHpLovRr2XKWwE6/bD2B/4wVRxU1Fnphj
-----END PRIVATE KEY-----
`
