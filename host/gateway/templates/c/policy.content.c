/* {{NAME}}: keeps messages whose subject has one of the words in the settings. */
#include "secmx.h"

/* The settings, as `[config]` in policy.toml has them. */
const char *secmx_check(void) {
  return secmx_settings("words:texts");
}

secmx_ruling secmx_inspect(secmx_session session, secmx_message message) {
  (void)session;
  secmx_text field = secmx_from("Subject");
  guest_list_string_t subjects;
  SECMX(message, text)(message, &field, &subjects);
  const char *word;
  for (size_t at = 0; (word = secmx_member("words", at)); ++at) {
    for (size_t subject = 0; subject < subjects.len; ++subject) {
      if (secmx_has(subjects.ptr[subject], word)) {
        return secmx_quarantine("subject.word", secmx_format("the subject has \"%s\"", word));
      }
    }
  }
  return secmx_pass();
}
