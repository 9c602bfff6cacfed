/* Asks the policy without the gateway:
 *
 *   cc -I sdk -o test_policy tests/test_policy.c policy.c sdk/testing.c && ./test_policy
 *
 * Any C compiler of this machine does; that of the build is one: .venv/bin/python-zig cc. */
#include "testing.h"

int main(void) {
  secmx_play((secmx_world){.settings = "{\"words\": [\"secret\"]}", .facts = {{"text Subject", "a secret plan"}}});
  SECMX_RULED(secmx_inspect(SECMX_SESSION, SECMX_MESSAGE), "quarantine subject.word: the subject has \"secret\"");
  return secmx_failed();
}
