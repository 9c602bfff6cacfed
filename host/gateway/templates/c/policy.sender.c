/* {{NAME}}: mail to domains that have one of the words in the settings goes securely or not at all. */
#include "secmx.h"

/* The settings, as `[config]` in policy.toml has them. */
const char *secmx_check(void) {
  return secmx_settings("words:texts");
}

secmx_ruling secmx_route(secmx_destination destination) {
  secmx_text domain;
  SECMX(destination, domain)(destination, &domain);
  const char *word;
  for (size_t at = 0; (word = secmx_member("words", at)); ++at) {
    if (secmx_has(domain, word)) SECMX(destination, set_role)(destination, SECMX_POLICY_TYPES_SENDER_ROLE_SECURE_ONLY);
  }
  return secmx_pass();
}
