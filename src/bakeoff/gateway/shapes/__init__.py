"""The shapes of model APIs: what a request asks and an answer says, in one form for all, and that form rendered for each."""
