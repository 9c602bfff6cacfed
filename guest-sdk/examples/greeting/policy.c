/* Refuses clients by their address. */
#include "secmx.h"
#include <string.h>

/* `192.0.2.7` is that address; `192.0.2.` and `2001:db8:` are every address that begins so. */
const char *secmx_check(void) {
  return secmx_settings("refuse:texts text:text?");
}

secmx_ruling secmx_greet(secmx_session session) {
  secmx_text address, text = secmx_from(secmx_setting("text", "mail from your address is not taken here"));
  SECMX(session, client_address)(session, &address);
  const char *entry;
  for (size_t at = 0; (entry = secmx_member("refuse", at)); ++at) {
    size_t len = strlen(entry);
    bool net = len > 0 && strchr(".:", entry[len - 1]);
    if (secmx_is(address, entry) || (net && secmx_starts(address, entry))) {
      secmx_count("refused", 1);
      return secmx_reject(554, 5, 7, 1, text, "greeting.address");
    }
  }
  return secmx_pass();
}
