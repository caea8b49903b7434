"""The field's terms: a sentence each, one folder a language; pages explain them where they fall."""
