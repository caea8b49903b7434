"""Attribution: which patches a class, or a word of a caption, depends on."""
