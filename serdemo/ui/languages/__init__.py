"""The page in several languages: one table of its texts, by what they are in English.

A text is translated as it appears on the page, whether gradio, a template, a handler or a script put it there:
`first.js` chooses the language, `shell/js/translate.js` does the rest.
"""
