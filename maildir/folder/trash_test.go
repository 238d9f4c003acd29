package folder

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
)

// TestDeletesMeet: if one emptied the trash while another moved a folder there, nothing is
// left behind.
func TestDeletesMeet(t *testing.T) {
	tree, root := testTree(t, Options{Layout: LayoutMaildirPP})
	var workers sync.WaitGroup
	for worker := range 4 {
		workers.Go(func() {
			for i := range 60 {
				name := fmt.Sprintf("m%d-%d", worker, i)
				if err := tree.Create(t.Context(), name, nil); err != nil {
					t.Errorf("Create %s: %v", name, err)
				}
				if err := tree.Delete(t.Context(), name); err != nil {
					t.Errorf("Delete %s: %v", name, err)
				}
			}
		})
	}
	workers.Wait()
	if exists(t, filepath.Join(root, trashName)) {
		t.Error("the trash is there still")
	}
}
