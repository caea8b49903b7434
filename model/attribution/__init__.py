"""Attribution: which patches a class or a word rests on, by one method or another."""
