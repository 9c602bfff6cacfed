/* {{NAME}}: refuses clients whose EHLO name has one of the words in the settings. */
#include "secmx.h"

/* The settings, as `[config]` in policy.toml has them. */
const char *secmx_check(void) {
  return secmx_settings("words:texts");
}

secmx_ruling secmx_mail(secmx_session session, const secmx_address *reverse_path, secmx_parameters parameters) {
  (void)reverse_path, (void)parameters;
  secmx_text hello;
  bool said = SECMX(session, hello)(session, &hello);
  const char *word;
  for (size_t at = 0; said && (word = secmx_member("words", at)); ++at) {
    if (secmx_has(hello, word)) return secmx_reject(550, 5, 7, 1, secmx_from("Not welcome here"), "hello.word");
  }
  return secmx_pass();
}
