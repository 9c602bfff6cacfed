/* Asks the policy without the gateway:
 *
 *   cc -I sdk -o test_policy tests/test_policy.c policy.c sdk/testing.c && ./test_policy
 *
 * Any C compiler of this machine does; that of the build is one: .venv/bin/python-zig cc. */
#include "testing.h"

int main(void) {
  secmx_play((secmx_world){.settings = "{\"words\": [\"secret\"]}", .facts = {{"domain", "secret.example"}}});
  SECMX_RULED(secmx_route(SECMX_DESTINATION), "pass");
  SECMX_EXPECT(secmx_did("set-role secure-only"));
  return secmx_failed();
}
