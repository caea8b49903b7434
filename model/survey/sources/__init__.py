"""Pictures of a data set in any form, each named by where its bytes lie."""
