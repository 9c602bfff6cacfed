/* Asks the policy without the gateway:
 *
 *   cc -I sdk -o test_policy tests/test_policy.c policy.c sdk/testing.c && ./test_policy
 *
 * Any C compiler of this machine does; that of the build is one: .venv/bin/python-zig cc. */
#include "testing.h"

int main(void) {
  secmx_play((secmx_world){.settings = "{\"words\": [\"secret\"]}", .facts = {{"hello", "secret.example"}}});
  SECMX_RULED(secmx_mail(SECMX_SESSION, NULL, (secmx_parameters){0}), "reject 550 5.7.1 Not welcome here (hello.word: Not welcome here)");
  return secmx_failed();
}
