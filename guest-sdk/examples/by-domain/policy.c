/* Mail to the listed domains goes out secure only (SOS), or not at all. */
#include "secmx.h"

/* `health.test` is that domain, `.health.test` every domain below it. */
const char *secmx_check(void) {
  const char *wrong = secmx_settings("domains:texts");
  if (!wrong && !secmx_member("domains", 0)) wrong = "`domains` names no domain";
  return wrong;
}

secmx_ruling secmx_route(secmx_destination destination) {
  secmx_text domain;
  SECMX(destination, domain)(destination, &domain);
  const char *entry;
  for (size_t at = 0; (entry = secmx_member("domains", at)); ++at) {
    if (secmx_is(domain, entry) || (entry[0] == '.' && secmx_ends(domain, entry))) {
      SECMX(destination, set_role)(destination, SECMX_POLICY_TYPES_SENDER_ROLE_SECURE_ONLY);
    }
  }
  return secmx_pass();
}
